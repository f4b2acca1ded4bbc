"""A ResNet-101 made of a MobileNetV2."""
