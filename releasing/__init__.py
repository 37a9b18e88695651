"""What a release is made with: bentos, pinned packages, a bill of materials, kept files, and the dry run of it all."""
