// A module of its own: a tool for measuring, not a part of Cloister.
module cloister/bench/peers

go 1.26.0

require golang.org/x/sys v0.49.0
