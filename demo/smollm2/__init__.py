"""A real small family: SmolLM2 135M from an installed package, and experts fine-tuned from it."""
