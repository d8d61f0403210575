"""Smaller weights: quantization after training, and what each method costs."""
