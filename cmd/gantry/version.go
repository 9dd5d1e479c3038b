package main

import (
	"context"
	"runtime"
	"runtime/debug"
)

// release is set by the build: -ldflags "-X main.release=v1.2.3".
var release string

// version names this build.
func version() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel-" + s.Value[:12]
		}
	}
	return "devel"
}

type versionCmd struct{}

// Run prints the version and what it was built with.
func (versionCmd) Run(_ context.Context, io *stdio) error {
	io.printf("gantry %s %s %s/%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}
