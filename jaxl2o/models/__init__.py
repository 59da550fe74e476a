"""The one Transformer: layouts, encodings, the module and its presets."""
