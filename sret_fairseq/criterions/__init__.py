"""The criterions: fairseq's loss in chunks, distillation from a teacher, several depths at once."""
