"""Audio streams: frames of samples come in, each utterance in them gets a decision."""
