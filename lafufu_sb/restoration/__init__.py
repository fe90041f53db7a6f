"""The inference path: restorer, settings, windows, devices, ONNX Runtime."""
