package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// EnvFile names the variable with the configuration file's path.
const EnvFile = "GANTRY_CONFIG"

// File is a configuration file: YAML (so JSON too), flat, its keys the flags' names with - or _. A key that no command knows is
// refused: a setting that was misspelt must not be silently off.
type File struct {
	path   string
	values map[string]any
}

// FilePath finds the file's path before flags are parsed: --config, else GANTRY_CONFIG, else none.
func FilePath(args []string) string {
	for i, a := range args {
		if a == "--" {
			break
		}
		if v, ok := strings.CutPrefix(a, "--config="); ok {
			return v
		}
		if a == "--config" && i+1 < len(args) {
			return args[i+1]
		}
	}
	return os.Getenv(EnvFile)
}

// ReadFile reads the file; an empty path gives an empty one.
func ReadFile(path string) (*File, error) {
	f := &File{path: path, values: map[string]any{}}
	if path == "" {
		return f, nil
	}
	r, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("the configuration file can't be read: %w; name another with --config or %s", err, EnvFile)
	}
	defer func() { _ = r.Close() }() // it was only read
	raw := map[string]any{}
	if err := yaml.NewDecoder(r).Decode(&raw); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("the configuration file %s is not YAML with one setting a line: %w", path, err)
	}
	for k, v := range raw {
		f.values[strings.ReplaceAll(k, "_", "-")] = v
	}
	return f, nil
}

var _ kong.Resolver = (*File)(nil)

// isSetting tells settings from mere options: a setting has a variable.
func isSetting(flag *kong.Flag) bool { return len(flag.Envs) > 0 }

// Validate refuses keys that aren't settings of any command.
func (f *File) Validate(app *kong.Application) error {
	known := map[string]bool{}
	_ = kong.Visit(app, func(n kong.Visitable, next kong.Next) error {
		if node, ok := n.(*kong.Node); ok {
			for _, flag := range node.Flags {
				known[flag.Name] = known[flag.Name] || isSetting(flag)
			}
		}
		return next(nil)
	})
	var wrong []string
	for k := range f.values {
		if !known[k] {
			wrong = append(wrong, k)
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	slices.Sort(wrong)
	return fmt.Errorf("%s: unknown setting %s; `gantry serve --help` lists them", f.path, strings.Join(wrong, ", "))
}

// Resolve gives the file's value of a setting whose variable isn't set.
func (f *File) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	v, ok := f.values[flag.Name]
	if !ok || !isSetting(flag) || variableOf(flag) != "" {
		return nil, nil
	}
	list, ok := v.([]any)
	if !ok {
		return fmt.Sprint(v), nil
	}
	parts := make([]string, len(list))
	for i, e := range list {
		parts[i] = fmt.Sprint(e)
	}
	return strings.Join(parts, string(max(flag.Tag.Sep, ','))), nil
}

// Blame adds the file's name to a parser's refusal of a value that the file gave. The parser names the flag only.
func (f *File) Blame(err error, args []string) error {
	name, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), "--"), " ")
	name = strings.TrimSuffix(name, ":")
	given := slices.ContainsFunc(args, func(a string) bool { return a == "--"+name || strings.HasPrefix(a, "--"+name+"=") })
	if _, ok := f.values[name]; !ok || given || strings.Contains(err.Error(), "envar") {
		return err
	}
	return fmt.Errorf("%w (set by %s)", err, f.path)
}

// variableOf names the variable that gives the flag its value, empty when none is set.
func variableOf(flag *kong.Flag) string {
	for _, e := range flag.Envs {
		if _, ok := os.LookupEnv(e); ok {
			return e
		}
	}
	return ""
}

// Sources says of each setting where its value came from.
type Sources map[string]string

// SourcesOf reads them off a parsed command line.
func SourcesOf(ctx *kong.Context, f *File) Sources {
	s := Sources{}
	for _, p := range ctx.Path {
		for _, flag := range p.Flags {
			if v := variableOf(flag); v != "" {
				s[flag.Name] = v
			}
		}
	}
	for _, p := range ctx.Path {
		switch {
		case p.Flag == nil:
		case p.Resolved:
			s[p.Flag.Name] = f.path
		default:
			s[p.Flag.Name] = "--" + p.Flag.Name
		}
	}
	return s
}

func (s Sources) of(name string) string {
	if from := s[name]; from != "" {
		return from
	}
	return ""
}
