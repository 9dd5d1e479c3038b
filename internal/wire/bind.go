package wire

import (
	"fmt"
	"path"
	"strings"
)

// Where things are inside the sandbox. Programs can write some of these: a symbolic link of theirs could lead a mount elsewhere.
const (
	InsideWork = "/work"
	InsideHome = "/home/agent"
	InsideTmp  = "/tmp"
	InsideRun  = "/run/gantry"
	InsideSelf = "/opt/gantry/gantry"
)

// reserved are the places that no bind may cover, lie in or hold.
var reserved = []string{InsideWork, InsideTmp, InsideHome, InsideRun, "/proc", "/dev", path.Dir(InsideSelf)}

// SplitBind takes a bind apart: PATH, or PATH:INSIDE to show it under another name.
func SplitBind(bind string) (host, inside string) {
	if host, inside, ok := strings.Cut(bind, ":"); ok {
		return host, inside
	}
	return bind, bind
}

// CheckBind says why a bind can work on no machine, nil when it may: both sides refuse by it. What depends on the machine, like
// whether the path is there, its worker checks.
func CheckBind(bind string) error {
	host, inside := SplitBind(bind)
	if !path.IsAbs(host) || !path.IsAbs(inside) || path.Clean(inside) != inside || strings.ContainsRune(bind, 0) {
		return fmt.Errorf("bind %q: must be PATH or PATH:INSIDE with absolute paths", bind)
	}
	for _, d := range reserved {
		if Within(d, inside) || Within(inside, d) {
			return fmt.Errorf("bind %q: %s belongs to the sandbox; show it under another name with PATH:INSIDE", bind, inside)
		}
	}
	return nil
}

// Within reports whether a path is dir or lies below it. Both are clean and absolute.
func Within(name, dir string) bool {
	return name == dir || dir == "/" || strings.HasPrefix(name, dir+"/")
}
