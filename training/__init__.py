"""What made the built-in models: data, augmentation, losses, training loops and evaluation."""
