"""What every part of evenvoice shares: a waveform in, a decision out."""
