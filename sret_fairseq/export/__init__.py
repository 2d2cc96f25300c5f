"""A trained model as ONNX graphs: what builds them from the torch model. The package sret_translate runs them."""
