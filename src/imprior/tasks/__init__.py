"""What a person asks for: each task asks a model for a promise and knows no model."""
