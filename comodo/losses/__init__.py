"""The losses that students are trained with: a file for each, with its settings, its formula and
what is trained besides the student.

A loss knows neither the others nor the training loop, nor where embeddings come from. Settings are
read where there is no time for PyTorch, so it is imported when a loss is computed.
"""
