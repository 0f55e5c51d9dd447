"""The notebooks as a web site on which the explorers move without a kernel."""
