"""Target models: toys, their training and storage, language models."""

__all__: list[str] = []
