"""Where an inference's time goes, layer by layer, and how near that is to the machine's limit."""
