// Package faults kills, stops, starves and cuts off real processes of Gantry and looks at what is left: every event once and in
// order, no lease lost that needn't be, nothing half-written (docs/worker.md).
//
// Each test runs its own server, workers and, where it needs one, database. What can't run here is skipped and says why.
package faults

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// gantry is the program under test, built once.
var gantry string

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		fmt.Println("faults: skipped with -short")
		return
	}
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "gantry-faults-")
	if err != nil {
		return 1, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	gantry = filepath.Join(dir, "gantry")
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	build := exec.CommandContext(ctx, "go", "build", "-o", gantry, "gantry/cmd/gantry")
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("build: %w\n%s", err, out)
	}
	defer stopSharedPostgres()
	return m.Run(), nil
}
