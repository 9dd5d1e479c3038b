package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// Free bytes below which doctor warns, and below which it fails: there soon nothing can be written any more.
const (
	littleRoom = 1 << 30
	noRoom     = 64 << 20
)

// room checks what is free on the disks of the data directory, the database's file and the blobs, each disk once.
func (d *doctorCmd) room() []finding {
	var out []finding
	var seen []uint64
	for _, dir := range []string{d.Data, filepath.Dir(pathOf(d.Database)), pathOf(d.Blobs)} {
		if dir = nearest(dir); dir == "" {
			continue
		}
		check := "disk of " + dir
		var disk unix.Stat_t
		var space unix.Statfs_t
		err := unix.Stat(dir, &disk)
		if err == nil {
			err = unix.Statfs(dir, &space)
		}
		switch {
		case err != nil:
			out = append(out, bad(check, err, ""))
		case !slices.Contains(seen, disk.Dev):
			seen = append(seen, disk.Dev)
			out = append(out, roomOf(check, space.Bavail*uint64(space.Bsize)))
		}
	}
	return out
}

func roomOf(check string, free uint64) finding {
	found := fmt.Sprintf("%d MiB free", free>>20)
	switch {
	case free < noRoom:
		return finding{Check: check, Found: found, Mend: "Make room now: on a full disk every write is refused."}
	case free < littleRoom:
		return finding{Check: check, OK: true, Found: found, Mend: "Make room soon: on a full disk every write is refused."}
	}
	return good(check, "%s", found)
}

// nearest gives the nearest directory above a path that is there, and "" for a relative path.
func nearest(path string) string {
	if !filepath.IsAbs(path) {
		return ""
	}
	for {
		if _, err := os.Stat(path); err == nil || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}
