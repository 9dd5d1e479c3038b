package db

import (
	"database/sql"
	"fmt"
	"time"
)

// A place of a scan that takes null for the zero value: no variable beside the field, and nothing that is made for each row.

// OrEmpty reads a text that may be null, which is "".
func OrEmpty(into *string) sql.Scanner { return orEmpty{into} }

// OrZero reads a time in Unix milliseconds, which may be null: the zero time.
func OrZero(into *time.Time) sql.Scanner { return orZero{into} }

type orEmpty struct{ into *string }

func (o orEmpty) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*o.into = ""
	case string:
		*o.into = v
	case []byte:
		*o.into = string(v)
	default:
		return fmt.Errorf("a %T is no text", v)
	}
	return nil
}

type orZero struct{ into *time.Time }

func (o orZero) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*o.into = time.Time{}
	case int64:
		*o.into = Time(v)
	default:
		return fmt.Errorf("a %T is no time", v)
	}
	return nil
}
