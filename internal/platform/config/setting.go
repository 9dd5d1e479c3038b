package config

import (
	"encoding"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/pflag"
)

// Setting is one tagged field: a flag with what else gives it a value, or an argument in its place. The field's type is one that
// decode knows. Its tags:
//
//	help, group, placeholder, hidden   what the help says and where; ${default} stands for the default
//	name, short                        the flag's name when it isn't the field's, and its letter
//	default, enum, required            its value when nothing gives one, and which values may be
//	env                                the variables that give it, the first that is set; they make it a key of the file as well
//	sep                                what parts a list in one text: a comma, or none
//	type                               path (made absolute) or existingfile
//	arg, optional, passthrough         an argument; one that may be left out; all that is left, flags included
type Setting struct {
	Name, Short, Help, Group string
	// Placeholder is what the help shows for the value; empty for a switch.
	Placeholder           string
	Default               string
	Envs, Enum            []string
	Hidden, Required      bool
	Arg, Optional, Behind bool

	sep, kind string
	target    reflect.Value
	// from says what gave the value: a flag, a variable or a file; empty for the default.
	from string
}

// Settings are those of one command.
type Settings []*Setting

// Bind reads a struct's tags and gives every field its default. It takes in what is tagged embed and passes over what is tagged cmd.
// A tag that can't be is a mistake of the program, so it panics.
func Bind(into any) Settings {
	var ss Settings
	ss.walk(reflect.ValueOf(into).Elem())
	return ss
}

func (ss *Settings) walk(v reflect.Value) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if _, ok := f.Tag.Lookup("embed"); ok {
			ss.walk(v.Field(i))
			continue
		}
		if _, ok := f.Tag.Lookup("cmd"); ok || f.Tag == "" {
			continue
		}
		*ss = append(*ss, newSetting(f, v.Field(i)))
	}
}

func newSetting(f reflect.StructField, target reflect.Value) *Setting {
	has := func(tag string) bool { _, ok := f.Tag.Lookup(tag); return ok }
	list := func(tag string) []string {
		return strings.FieldsFunc(f.Tag.Get(tag), func(r rune) bool { return r == ',' })
	}
	s := &Setting{
		Name: FlagName(f), Short: f.Tag.Get("short"), Group: f.Tag.Get("group"), Default: f.Tag.Get("default"),
		Help: strings.ReplaceAll(f.Tag.Get("help"), "${default}", f.Tag.Get("default")),
		Envs: list("env"), Enum: list("enum"), Hidden: has("hidden"), Required: has("required"),
		Arg: has("arg"), Optional: has("optional"), Behind: has("passthrough"),
		sep: f.Tag.Get("sep"), kind: f.Tag.Get("type"), target: target,
	}
	s.Placeholder = s.placeholder(f.Tag.Get("placeholder"))
	if has("default") {
		if err := s.set(s.Default, ""); err != nil {
			panic("config: " + err.Error())
		}
	}
	return s
}

// FlagName is the name in the field's tag, else the field's own: NoWorker is no-worker.
func FlagName(f reflect.StructField) string {
	if name := f.Tag.Get("name"); name != "" {
		return name
	}
	var b strings.Builder
	rs := []rune(f.Name)
	for i, r := range rs {
		if i > 0 && unicode.IsUpper(r) && (unicode.IsLower(rs[i-1]) || i+1 < len(rs) && unicode.IsLower(rs[i+1])) {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

func (s *Setting) placeholder(tagged string) string {
	more := ""
	if s.isList() && s.sep != "none" && s.kind == "" {
		more = ",..."
	}
	switch {
	case s.isSwitch():
		return ""
	case tagged != "":
		return tagged + more
	case s.target.Kind() == reflect.String && s.Default != "":
		return strconv.Quote(s.Default)
	case s.Default != "":
		return s.Default + more
	}
	return strings.ToUpper(s.target.Kind().String()) + more
}

func (s *Setting) isSwitch() bool { return s.target.Kind() == reflect.Bool }
func (s *Setting) isList() bool   { return s.target.Kind() == reflect.Slice }

// isSetting tells settings from mere options: a setting has a variable.
func (s *Setting) isSetting() bool { return len(s.Envs) > 0 }

// Flag names the setting in a message: --name, or <name> for an argument.
func (s *Setting) Flag() string {
	switch {
	case s.Behind:
		return "<" + s.Name + "> ..."
	case s.Arg:
		return "<" + s.Name + ">"
	}
	return "--" + s.Name
}

// AddTo makes flags of the settings.
func (ss Settings) AddTo(fs *pflag.FlagSet) {
	for _, s := range ss {
		if s.Arg {
			continue
		}
		flag := fs.VarPF(flagValue{s}, s.Name, s.Short, s.Help)
		flag.Hidden = s.Hidden
		if s.isSwitch() {
			flag.NoOptDefVal = "true"
		}
	}
}

// flagValue is a setting as pflag knows it.
type flagValue struct{ *Setting }

func (v flagValue) Set(text string) error { return v.set(text, v.Flag()) }

// String is for pflag's own help, which nobody sees: a value may be a secret.
func (flagValue) String() string { return "" }

func (v flagValue) Type() string {
	switch {
	case v.isSwitch():
		return "bool"
	case v.isList():
		return "stringArray"
	}
	return "string"
}

// set takes a value in. The first one of a source replaces what an earlier source gave; a list grows by the next.
func (s *Setting) set(text, from string) error {
	parts := []string{text}
	if s.isList() {
		if s.from != from || from == "" {
			s.target.SetZero()
		}
		if s.sep != "none" {
			parts = strings.Split(text, ",")
		}
	}
	s.from = from
	for _, p := range parts {
		var err error
		if s.kind != "" {
			p, err = s.path(p)
		}
		if err == nil {
			err = decode(s.target.Addr().Interface(), p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// path makes a path absolute, because the process may change its directory, and knows ~/ as no shell does behind a "=".
func (s *Setting) path(text string) (string, error) {
	if text == "" || text == "-" {
		return text, nil
	}
	if rest, ok := strings.CutPrefix(text, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			text = filepath.Join(home, rest)
		}
	}
	abs, err := filepath.Abs(text)
	if err != nil || s.kind != "existingfile" {
		return abs, err
	}
	st, err := os.Stat(abs)
	if err == nil && st.IsDir() {
		err = fmt.Errorf("%q exists but is a directory", abs)
	}
	return abs, err
}

// decode reads text into what a field's address points to.
func decode(into any, text string) error {
	switch p := into.(type) {
	case encoding.TextUnmarshaler:
		return p.UnmarshalText([]byte(text))
	case *string:
		*p = text
	case *[]string:
		*p = append(*p, text)
	case *bool:
		return decodeBool(p, text)
	case *int:
		n, err := strconv.ParseInt(text, 0, strconv.IntSize)
		*p = int(n)
		return expected(err, "a valid 64 bit int", text)
	case **int:
		*p = new(int)
		return decode(*p, text)
	case *int64:
		n, err := strconv.ParseInt(text, 0, 64)
		*p = n
		return expected(err, "a valid 64 bit int", text)
	case *float64:
		n, err := strconv.ParseFloat(text, 64)
		*p = n
		return expected(err, "a float", text)
	case *time.Duration:
		d, err := time.ParseDuration(text)
		*p = d
		return expected(err, "duration", text)
	case *[]netip.Prefix:
		n, err := netip.ParsePrefix(text)
		*p = append(*p, n)
		if err != nil {
			return fmt.Errorf("expected a range of addresses like 10.0.0.0/8, or 10.1.2.3/32 for one, but got %q", text)
		}
	default:
		panic(fmt.Sprintf("config: a %T can't be a setting", into))
	}
	return nil
}

func decodeBool(p *bool, text string) error {
	switch strings.ToLower(text) {
	case "true", "1", "yes":
		*p = true
	case "false", "0", "no":
		*p = false
	default:
		return fmt.Errorf("bool value must be true, 1, yes, false, 0 or no but got %q", text)
	}
	return nil
}

func expected(err error, what, text string) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*strconv.NumError](err); ok {
		return fmt.Errorf("expected %s but got %q", what, text) // the cause says the same in other words
	}
	return fmt.Errorf("expected %s but got %q: %w", what, text, err)
}
