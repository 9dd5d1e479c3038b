package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

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

// Check refuses keys that aren't settings of any command.
func (f *File) Check(all ...Settings) error {
	known := map[string]bool{}
	for _, ss := range all {
		for _, s := range ss {
			known[s.Name] = known[s.Name] || s.isSetting()
		}
	}
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

// value gives the file's value of a setting as its flag would have it.
func (f *File) value(s *Setting) (text, path string, ok bool) {
	v, ok := f.values[s.Name]
	if !ok {
		return "", "", false
	}
	list, isList := v.([]any)
	if !isList {
		return fmt.Sprint(v), f.path, true
	}
	parts := make([]string, len(list))
	for i, e := range list {
		parts[i] = fmt.Sprint(e)
	}
	return strings.Join(parts, ","), f.path, true
}
