package db

import (
	"strings"
	"unicode/utf8"
)

// Storable says that both engines keep a text as it is: PostgreSQL takes UTF-8 only, and no NUL.
func Storable(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }
