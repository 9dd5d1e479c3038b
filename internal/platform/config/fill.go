package config

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
)

// Fill gives every setting that no flag gave its variable's value, else the file's, and refuses what may not be. What the flags
// gave has to be there already.
func (ss Settings) Fill(f *File) (Sources, error) {
	src := Sources{}
	var missing []string
	var wrong []error // all of them, so that nobody mends one after the other
	for _, s := range ss {
		if s.Arg {
			continue
		}
		if err := s.fill(f); err != nil {
			wrong = append(wrong, err)
			continue
		}
		if s.from != "" {
			src[s.Name] = s.from
		} else if s.Required {
			missing = append(missing, s.Flag()+"="+s.Placeholder)
		}
	}
	if len(missing) > 0 {
		wrong = append(wrong, errors.New("missing flags: "+strings.Join(missing, ", ")))
	}
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	return src, nil
}

func (s *Setting) fill(f *File) error {
	if s.from == "" && s.isSetting() {
		text, from, ok := s.variable()
		if !ok {
			text, from, ok = f.value(s)
		}
		if ok {
			if err := s.set(text, from); err != nil {
				return fmt.Errorf("%s: %w (set by %s)", s.Flag(), err, from)
			}
		}
	}
	return s.checkEnum()
}

// variable gives the value of the first of the setting's variables that is set.
func (s *Setting) variable() (text, name string, ok bool) {
	for _, name := range s.Envs {
		if text, ok := os.LookupEnv(name); ok {
			return text, name, true
		}
	}
	return "", "", false
}

func (s *Setting) checkEnum() error {
	if len(s.Enum) == 0 || slices.Contains(s.Enum, s.target.String()) || s.from == "" && s.target.String() == "" {
		return nil
	}
	where := ""
	if s.from != "" && s.from != s.Flag() {
		where = " (set by " + s.from + ")"
	}
	known := `"` + strings.Join(s.Enum, `","`) + `"`
	return fmt.Errorf("%s must be one of %s but got %q%s", s.Flag(), known, s.target.String(), where)
}

// Arguments gives the arguments their values, in order.
func (ss Settings) Arguments(args []string) error {
	for i, s := range ss {
		switch {
		case !s.Arg:
		case (s.Behind || s.isList()) && len(args) > 0: // as they are: a comma parts nothing
			s.target.Set(reflect.ValueOf(slices.Clone(args)))
			args = nil
		case len(args) > 0:
			if err := s.set(args[0], s.Flag()); err != nil {
				return fmt.Errorf("%s: %w", s.Flag(), err)
			}
			if err := s.checkEnum(); err != nil {
				return err
			}
			args = args[1:]
		case !s.Optional:
			return fmt.Errorf("expected %q", ss[i:].missing())
		}
	}
	if len(args) > 0 {
		return errors.New("unexpected argument " + args[0])
	}
	return nil
}

func (ss Settings) missing() string {
	var names []string
	for _, s := range ss {
		if s.Arg && !s.Optional {
			names = append(names, s.Flag())
		}
	}
	return strings.Join(names, " ")
}

// Sources says of each setting where its value came from: a flag, a variable or a file. Those that have their default aren't in it.
type Sources map[string]string
