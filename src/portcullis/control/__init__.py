"""The APIs beside the line: sessions and tokens on the gate, and the control plane."""
