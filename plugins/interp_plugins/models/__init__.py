"""Models that ship with the tool: Hugging Face language and vision models, timm models, two-tower models."""
