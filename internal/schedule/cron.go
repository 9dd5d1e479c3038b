package schedule

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/adhocore/gronx"

	"gantry/internal/platform/fault"
)

// maxCron bounds an expression; the longest useful one names every minute.
const maxCron = 256

// cronField is one of the five, with the names that stand for its numbers.
type cronField struct {
	name        string
	least, most int
	names       string // of three letters each, from the least on
}

// A week begins with Sunday as 0, which is 7 too.
var cronFields = [5]cronField{
	{"minute", 0, 59, ""},
	{"hour", 0, 23, ""},
	{"day of the month", 1, 31, ""},
	{"month", 1, 12, "JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC"},
	{"day of the week", 0, 7, "SUNMONTUEWEDTHUFRISAT"},
}

// checkCron gives an expression as gronx reads it, or a refusal that says which field is wrong; a schedule keeps the text that it was given.
// Fields are lists of *, numbers, names and ranges, each with a step if need be; as everywhere, a day is meant that fits the day of the
// month or the day of the week when both are given. gronx takes more forms and finds some mistakes only on certain days, so the forms are
// checked here.
func checkCron(expr string) (string, error) {
	wrong := func(format string, args ...any) error {
		return fault.InvalidField("frequency", "not a cron expression: "+format, args...)
	}
	if len(expr) > maxCron {
		return "", wrong("longer than %d bytes", maxCron)
	}
	fields := strings.Fields(strings.ToUpper(expr))
	if len(fields) != len(cronFields) {
		return "", wrong("it needs five fields: minute, hour, day of the month, month, day of the week")
	}
	for i, f := range fields {
		for part := range strings.SplitSeq(f, ",") {
			if err := cronFields[i].check(part); err != nil {
				return "", wrong("%v", err)
			}
			if part == "*" {
				fields[i] = part // whatever else the list has
			}
		}
	}
	return strings.Join(fields, " "), nil
}

// check reads one part of a field: *, a number or a range, with /step behind it if need be.
func (f cronField) check(part string) error {
	span, step, stepped := strings.Cut(part, "/")
	if stepped {
		if n, ok := digits(step); !ok || n < 1 || n > f.most {
			return fmt.Errorf("%q is no step of the %s", step, f.name)
		}
	}
	if span == "*" {
		return nil
	}
	from, to, ranged := strings.Cut(span, "-")
	a, err := f.number(from)
	if err != nil || !ranged {
		return err
	}
	b, err := f.number(to)
	if err == nil && b < a {
		err = fmt.Errorf("the range %s of the %s runs backwards", span, f.name)
	}
	return err
}

func (f cronField) number(text string) (int, error) {
	if n, ok := digits(text); ok {
		if n < f.least || n > f.most {
			return 0, fmt.Errorf("the %s must be from %d to %d", f.name, f.least, f.most)
		}
		return n, nil
	}
	if at := strings.Index(f.names, text); len(text) == 3 && at >= 0 && at%3 == 0 {
		return f.least + at/3, nil
	}
	return 0, fmt.Errorf("%.20q is no %s", text, f.name)
}

// digits reads a number of one or two digits and nothing else.
func digits(text string) (int, bool) {
	if len(text) < 1 || len(text) > 2 || strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	return n, err == nil
}

// next gives the first occurrence after a time, in UTC. One that never comes, such as the 30th of February, is refused.
func next(expr string, after time.Time) (time.Time, error) {
	plain, err := checkCron(expr)
	if err != nil {
		return time.Time{}, err
	}
	return tick(plain, after)
}

// tick is next for what checkCron gave.
func tick(expr string, after time.Time) (time.Time, error) {
	t, err := gronx.NextTickAfter(expr, after.UTC(), false)
	if err != nil || !t.After(after) {
		return time.Time{}, fault.InvalidField("frequency", "the cron expression names no time that ever comes")
	}
	return t, nil
}

// mostMissed bounds how many occurrences are counted to keep the step over a time in which nothing ran; beyond it the count begins anew.
const mostMissed = 5000

// nth gives the run after one that was due: the first occurrence after now that is a whole number of steps from it.
func nth(expr string, step int64, due, now time.Time) (time.Time, error) {
	if step == 1 {
		return next(expr, now)
	}
	plain, err := checkCron(expr)
	if err != nil {
		return time.Time{}, err
	}
	t := due
	for i := int64(1); i <= mostMissed+step; i++ {
		if t, err = tick(plain, t); err != nil {
			return t, err
		}
		if i%step == 0 && t.After(now) {
			return t, nil
		}
	}
	return next(expr, now)
}
