"""The measures of a student: a file for each, with a function of a `FrozenStudent`.

What is known of a measure before it is computed is constants of its file, in capitals and
literal: `comodo.config.measures` reads them from the text, without importing it.
"""
