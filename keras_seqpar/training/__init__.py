"""Training: one loop and its tasks, checkpoints, distribution, distillation, evaluation."""
