// Package coldstart keeps the garbage collector out of a process's start. Packages allocate some megabytes while they initialize, nearly
// all of it to stay, and a collection in between costs more than the rest of the start. Packages initialize in the order of their
// paths where their imports allow it, so this one comes before every module's that has a domain in its name: what it sets holds for
// those.
package coldstart

import "runtime/debug"

var percent = debug.SetGCPercent(-1)

// Hold keeps it out for as long as a start takes that is more than packages.
func Hold() { debug.SetGCPercent(-1) }

// Over has the garbage collector work as GOGC says.
func Over() { debug.SetGCPercent(percent) }
