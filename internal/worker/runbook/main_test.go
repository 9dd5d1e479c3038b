package runbook_test

import (
	"context"
	"os"
	"testing"

	"go.uber.org/goleak"

	"gantry/internal/worker/runbook"
)

// TestMain lets the test binary be the agent's process itself, so that tests can start, feed and kill a real one.
func TestMain(m *testing.M) {
	if os.Getenv("RUNBOOK_TEST_AGENT") != "" {
		os.Exit(runbook.Main(context.Background(), os.Stdin, os.Stdout, os.Stderr))
	}
	goleak.VerifyTestMain(m)
}
