package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"gantry/internal/platform/config"
	"gantry/internal/platform/human"
)

// commands is the whole command line: each field tagged cmd is a command, and the fields of its struct are the command's own commands,
// flags and arguments (config.Setting says which tags those have).
type commands struct {
	Config string `help:"Configuration file (YAML); its keys are the names of flags that have a variable." placeholder:"FILE" env:"GANTRY_CONFIG"`

	Serve  serveCmd  `cmd:"" help:"Run the server." group:"Server"`
	Worker workerCmd `cmd:"" help:"Run a worker for a server elsewhere, or drain one." group:"Server"`
	Admin  adminCmd  `cmd:"" help:"Change what a data directory holds, whether a server runs on it or not." group:"Server"`
	Audit  auditCmd  `cmd:"" help:"Read the audit log and prove that nobody rewrote it." group:"Server"`
	Doctor doctorCmd `cmd:"" help:"Check database, keeper, blobs, sandbox and agents, and say what to do." group:"Server"`

	Migrate migrateCmd `cmd:"" help:"Bring the database to this program's schema version." group:"Server"`
	OpenAPI openapiCmd `cmd:"" name:"openapi" help:"Print the OpenAPI document of one API version." group:"Server"`

	Session sessionCmd `cmd:"" help:"Start sessions and look after them." group:"Client"`
	API     apiCmd     `cmd:"" name:"api" help:"Call any operation of the API." group:"Client"`
	Login   loginCmd   `cmd:"" help:"Keep a server's address and a key for later commands." group:"Client"`

	Completion completionCmd `cmd:"" help:"Print what makes a shell complete gantry's commands." group:"Other"`
	Version    versionCmd    `cmd:"" help:"Print the version." group:"Other"`
}

// runner is a command that does something; settled is one that wants to know where its settings came from.
type (
	runner interface {
		Run(ctx context.Context, io *stdio) error
	}
	settled interface {
		Run(ctx context.Context, io *stdio, src config.Sources) error
	}
)

// commandLine is the tree of commands.
type commandLine struct {
	io       *stdio
	top      commands
	settings config.Settings // of every command
	root     *cobra.Command
	nodes    map[*cobra.Command]*node
}

// node is what help and parsing need to know of a command besides what cobra knows.
type node struct {
	settings config.Settings
	group    string
	detail   string // a paragraph of help below the first line
	run      func(ctx context.Context, src config.Sources) error
	below    []*cobra.Command // in the struct's order
	// acts is the command that this one is short for: itself, or one that may be left out.
	acts *cobra.Command
}

func newCommandLine(io *stdio) *commandLine {
	l := &commandLine{io: io, nodes: map[*cobra.Command]*node{}}
	l.root = &cobra.Command{Use: "gantry", Short: "Self-hosted control plane for coding agents.", SilenceErrors: true, SilenceUsage: true}
	l.root.CompletionOptions.DisableDefaultCmd = true
	l.root.SetOut(io.out)
	l.root.SetErr(io.err)
	l.root.SetHelpFunc(func(c *cobra.Command, _ []string) { l.help(c) })
	l.root.SetFlagErrorFunc(l.flagError)
	l.root.SetHelpCommand(&cobra.Command{Use: "help", Hidden: true, RunE: func(_ *cobra.Command, _ []string) error {
		return l.misuse(l.root, errors.New("unexpected argument help"))
	}})
	l.fill(l.root, "", reflect.ValueOf(&l.top))
	return l
}

// fill makes a command of a struct: its flags, its arguments, and a command for each field that is one.
func (l *commandLine) fill(c *cobra.Command, group string, into reflect.Value) {
	n := &node{settings: config.Bind(into.Interface()), group: group, acts: c}
	l.nodes[c] = n
	l.settings = append(l.settings, n.settings...)
	l.flags(c, n.settings)
	if h, ok := reflect.TypeAssert[interface{ Help() string }](into); ok {
		n.detail = h.Help()
	}
	switch r := into.Interface().(type) {
	case runner:
		n.run = func(ctx context.Context, _ config.Sources) error { return r.Run(ctx, l.io) }
	case settled:
		n.run = func(ctx context.Context, src config.Sources) error { return r.Run(ctx, l.io, src) }
	}
	c.RunE, c.Args = l.run, cobra.ArbitraryArgs
	for i := range into.Elem().NumField() {
		f := into.Elem().Type().Field(i)
		if _, ok := f.Tag.Lookup("cmd"); !ok {
			continue
		}
		own := group
		if g := f.Tag.Get("group"); g != "" {
			own = g
		}
		child := &cobra.Command{Use: config.FlagName(f), Short: f.Tag.Get("help")}
		l.fill(child, own, into.Elem().Field(i).Addr())
		c.AddCommand(child)
		n.below = append(n.below, child)
		if f.Tag.Get("default") == "withargs" {
			n.acts = child
			l.flags(c, l.nodes[child].settings)
		}
	}
}

// flags gives a command its flags, and the shell what completes them.
func (l *commandLine) flags(c *cobra.Command, ss config.Settings) {
	fs := c.Flags()
	if c == l.root {
		fs = c.PersistentFlags()
	}
	ss.AddTo(fs)
	for _, s := range ss {
		switch {
		case s.Behind:
			fs.SetInterspersed(false)
		case s.Arg && len(s.Enum) > 0:
			c.ValidArgs = s.Enum
		case len(s.Enum) > 0:
			// It fails for a flag that isn't there only.
			_ = c.RegisterFlagCompletionFunc(s.Name, cobra.FixedCompletions(s.Enum, cobra.ShellCompDirectiveNoFileComp))
		}
	}
}

func (l *commandLine) execute(ctx context.Context, args []string) error {
	l.root.SetArgs(slices.Concat([]string{}, args)) // never nil: that would be the process's own
	return l.root.ExecuteContext(ctx)
}

// run is every command: settings are read and checked, then it does what it does.
func (l *commandLine) run(c *cobra.Command, args []string) error {
	n := l.nodes[l.nodes[c].acts]
	args, err := l.behind(c, n, args)
	if err != nil {
		return err
	}
	if n.run == nil {
		return l.misuse(c, l.noCommand(c, args))
	}
	if err := n.settings.Arguments(args); err != nil {
		return l.misuse(c, err)
	}
	src, err := l.settle(c, n)
	if err != nil {
		return err
	}
	return n.run(c.Context(), src)
}

// behind reads the flags that stand between the arguments of a command whose last argument takes everything that is left, flags
// included. cobra has stopped at the first argument.
func (l *commandLine) behind(c *cobra.Command, n *node, args []string) ([]string, error) {
	if len(n.settings) == 0 || !slices.ContainsFunc(n.settings, func(s *config.Setting) bool { return s.Behind }) {
		return args, nil
	}
	var before []string
	for _, s := range n.settings {
		if !s.Arg || s.Behind || len(args) == 0 {
			continue
		}
		before = append(before, args[0])
		if err := c.Flags().Parse(args[1:]); err != nil {
			return nil, l.flagError(c, err)
		}
		args = c.Flags().Args()
	}
	if help, err := c.Flags().GetBool("help"); err == nil && help {
		return nil, pflag.ErrHelp
	}
	return append(before, args...), nil
}

// settle reads the file and the variables into what no flag gave.
func (l *commandLine) settle(c *cobra.Command, n *node) (config.Sources, error) {
	none, err := config.ReadFile("")
	if err != nil {
		return nil, err
	}
	if _, err := l.nodes[l.root].settings.Fill(none); err != nil {
		return nil, l.misuse(c, err)
	}
	file, err := config.ReadFile(l.top.Config)
	if err != nil {
		return nil, err
	}
	if err := file.Check(l.settings); err != nil {
		return nil, l.misuse(c, err)
	}
	src, err := n.settings.Fill(file)
	if err != nil {
		return nil, l.misuse(c, err)
	}
	return src, nil
}

// misuse refuses a command line and names the command whose help explains it.
func (l *commandLine) misuse(c *cobra.Command, err error) error {
	return fmt.Errorf("%w\n  `%s --help` lists what there is", err, l.nodes[c].acts.CommandPath())
}

// noCommand is what is wrong with a command that only has others below it.
func (l *commandLine) noCommand(c *cobra.Command, args []string) error {
	var names []string
	for _, below := range l.nodes[c].below {
		names = append(names, below.Name())
	}
	if len(args) > 0 {
		return errors.New("unexpected argument " + args[0] + didYouMean(args[0], names))
	}
	const most = 5
	more := ""
	if len(names) > most {
		names, more = names[:most], ", ..."
	}
	return errors.New("expected one of \"" + strings.Join(names, `", "`) + "\"" + more)
}

// flagError says in our words what is wrong with a flag.
func (l *commandLine) flagError(c *cobra.Command, err error) error {
	var (
		unknown *pflag.NotExistError
		bare    *pflag.ValueRequiredError
		invalid *pflag.InvalidValueError
	)
	switch {
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() != "":
		err = errors.New("unknown flag -" + unknown.GetSpecifiedName())
	case errors.As(err, &unknown):
		var names []string
		c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, "--"+f.Name) })
		name := "--" + unknown.GetSpecifiedName()
		err = errors.New("unknown flag " + name + didYouMean(name, names))
	case errors.As(err, &bare):
		err = fmt.Errorf("--%s: expected a value", bare.GetFlag().Name)
	case errors.As(err, &invalid):
		err = fmt.Errorf("--%s: %w", invalid.GetFlag().Name, invalid.Unwrap())
	}
	return l.misuse(c, err)
}

// didYouMean names what is near a word.
func didYouMean(word string, known []string) string {
	near := human.Near(word, known)
	for i, k := range near {
		near[i] = `"` + k + `"`
	}
	switch len(near) {
	case 0:
		return ""
	case 1:
		return ", did you mean " + near[0] + "?"
	}
	return ", did you mean one of " + strings.Join(near, ", ") + "?"
}
