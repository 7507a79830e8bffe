"""Outside systems, one folder each. An adapter imports the library it adapts, the domain, and no other adapter."""
