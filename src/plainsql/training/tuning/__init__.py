"""Fine-tuning of language models: methods, recipe, merging."""

from plainsql.translators.language_model.libraries import quiet

# Before any module here imports peft, which imports torchao, which lists on stderr
# every CUDA file that it can't load.
quiet()
