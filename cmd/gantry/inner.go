package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"gantry/internal/worker/runbook"
	"gantry/internal/worker/sandbox"
)

// inner are the programs that run inside a sandbox. They are part of the contract between worker and sandbox, not of the command
// line, and start without it.
var inner = map[string]func(args []string) int{
	"sandbox-init":    sandbox.Init,
	"sandbox-connect": sandbox.Connect,
	"git-ssh":         sandbox.GitSSH,
	"agent":           innerAgent,
}

// innerAgent is `gantry agent runbook`, the built-in agent on standard input and output.
func innerAgent(args []string) int {
	if len(args) != 1 || args[0] != "runbook" {
		_, _ = fmt.Fprintln(os.Stderr, "gantry: the only built-in agent is runbook: `gantry agent runbook`") // nowhere else to say it
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return runbook.Main(ctx, os.Stdin, os.Stdout, os.Stderr)
}
