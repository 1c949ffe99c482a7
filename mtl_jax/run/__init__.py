"""One run: wired, trained, resumed, evaluated; its working directory and model card."""
