"""The scenes of the demo, a module per topic."""
