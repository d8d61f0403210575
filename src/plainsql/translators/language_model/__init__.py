"""Language models as translators: prompts, loading, generation, and SQL out of what they say."""
