"""Benchmarks of sret_transformer against fairseq's transformer: ``bash benchmarks/run.sh --help``."""
