// Command gantry is all of Gantry: the server, the worker, what runs inside a sandbox, and the command line for people and
// scripts. It is the only place that wires rooms together.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Exit codes (docs/worker.md, "What a turn's end means"). The last five are how a session ended or why it waits.
const (
	exitOK         = 0
	exitUsage      = 1
	exitWaiting    = 2
	exitError      = 3
	exitLimit      = 4
	exitTerminated = 5
)

// stdio is what a command reads from and writes to.
type stdio struct {
	in       io.Reader
	out, err io.Writer
	// terminal says that out shows to a person: colours and a live line are welcome there.
	terminal bool
	// lost is why something could not be written to out.
	lost error
}

func main() {
	// What starts with every sandbox is dispatched before anything else is set up: its start time is part of each session's.
	if len(os.Args) > 1 {
		if f, ok := inner[os.Args[1]]; ok {
			os.Exit(f(os.Args[2:]))
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks for an orderly end; a second one ends the process as it would any other.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], standard()))
}

// run is main without the process: it gives the exit code.
func run(ctx context.Context, args []string, io *stdio) int {
	err := newCommandLine(io).execute(ctx, args)
	var code exitCode
	switch {
	case io.lost != nil && (err == nil || errors.As(err, &code)):
		err = io.lost // however it went, whoever reads out wasn't told all of it
	case err == nil:
		return exitOK
	case errors.As(err, &code):
		return int(code)
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		const interrupted = 130 // what a shell gives for SIGINT
		return interrupted
	}
	_, _ = fmt.Fprintln(io.err, "gantry: "+clean(err.Error())) // nowhere to say that stderr is gone
	return exitUsage
}

// exitCode is the error of a command that has said all it had to say.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }
