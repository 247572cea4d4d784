"""The shells around the core: clock, sequencer, dispatcher, daemon, control socket."""
