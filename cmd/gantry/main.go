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

	"github.com/alecthomas/kong"
	kongcompletion "github.com/jotaen/kong-completion"

	"gantry/internal/platform/config"
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

type commands struct {
	Config string `help:"Configuration file (YAML); its keys are the names of flags that have a variable." placeholder:"FILE" env:"GANTRY_CONFIG"`

	Serve  serveCmd  `cmd:"" help:"Run the server." group:"Server"`
	Worker workerCmd `cmd:"" help:"Run a worker for a server elsewhere, or drain one." group:"Server"`
	Admin  adminCmd  `cmd:"" help:"Change what a data directory holds, whether a server runs on it or not." group:"Server"`
	Doctor doctorCmd `cmd:"" help:"Check database, keeper, blobs, sandbox and agents, and say what to do." group:"Server"`

	Migrate migrateCmd `cmd:"" help:"Bring the database to this program's schema version." group:"Server"`
	OpenAPI openapiCmd `cmd:"" name:"openapi" help:"Print the OpenAPI document of one API version." group:"Server"`

	Session sessionCmd `cmd:"" help:"Start sessions and look after them." group:"Client"`
	API     apiCmd     `cmd:"" name:"api" help:"Call any operation of the API." group:"Client"`
	Login   loginCmd   `cmd:"" help:"Keep a server's address and a key for later commands." group:"Client"`

	Completion kongcompletion.Completion `cmd:"" help:"Print what makes a shell complete gantry's commands." group:"Other"`
	Version    versionCmd                `cmd:"" help:"Print the version." group:"Other"`
}

// stdio is what a command reads from and writes to.
type stdio struct {
	in       io.Reader
	out, err io.Writer
	// terminal says that out shows to a person: colours and a live line are welcome there.
	terminal bool
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
	err := dispatch(ctx, args, io)
	var code exitCode
	var exited kongExit
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &exited):
		return int(exited)
	case errors.As(err, &code):
		return int(code)
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		const interrupted = 130 // what a shell gives for SIGINT
		return interrupted
	}
	_, _ = fmt.Fprintln(io.err, "gantry: "+clean(err.Error())) // nowhere to say that stderr is gone
	return exitUsage
}

func dispatch(ctx context.Context, args []string, io *stdio) (err error) {
	file, err := config.ReadFile(config.FilePath(args))
	if err != nil {
		return err
	}
	defer catchExit(&err)
	parser, err := newParser(ctx, io, file)
	if err != nil {
		return err
	}
	kongcompletion.Register(parser)
	kctx, err := parser.Parse(args)
	if err != nil {
		return fmt.Errorf("%w\n  `%s --help` lists what there is", file.Blame(err, args), usageOf(err))
	}
	return kctx.Run(config.SourcesOf(kctx, file))
}

func newParser(ctx context.Context, io *stdio, file *config.File) (*kong.Kong, error) {
	return kong.New(&commands{},
		kong.Name("gantry"),
		kong.Description("Self-hosted control plane for coding agents."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Writers(io.out, io.err),
		kong.Resolvers(file),
		kong.Exit(func(code int) { panic(kongExit(code)) }),
		kong.Bind(io),
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
}

// usageOf names the command whose help explains a refusal.
func usageOf(err error) string {
	var p *kong.ParseError
	if errors.As(err, &p) && p.Context != nil && p.Context.Selected() != nil {
		n := p.Context.Selected()
		if n.DefaultCmd != nil {
			n = n.DefaultCmd // a command that may be left out has the flags
		}
		return n.FullPath()
	}
	return "gantry"
}

// exitCode is the error of a command that has said all it had to say.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// kongExit carries kong's wish to exit (after --help, say) up to run, so that everything in between is closed.
type kongExit int

func (c kongExit) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

func catchExit(err *error) {
	if r := recover(); r != nil {
		c, ok := r.(kongExit)
		if !ok {
			panic(r)
		}
		*err = c
		if c == exitOK {
			*err = nil
		}
	}
}
