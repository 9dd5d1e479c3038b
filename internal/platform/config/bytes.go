package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Bytes is a size. Its text is a number and a unit: B, KiB, MiB, GiB, TiB or kB, MB, GB, TB; no unit is bytes.
type Bytes int64

// Larger units first: String takes the first that fits, UnmarshalText the first suffix, and "B" ends them all.
var units = []struct {
	name string
	size int64
}{
	{"TiB", 1 << 40},
	{"GiB", 1 << 30},
	{"MiB", 1 << 20},
	{"KiB", 1 << 10},
	{"TB", 1e12},
	{"GB", 1e9},
	{"MB", 1e6},
	{"kB", 1e3},
	{"B", 1},
}

// UnmarshalText reads a size.
func (b *Bytes) UnmarshalText(text []byte) error {
	s, size := strings.TrimSpace(string(text)), int64(1)
	for _, u := range units {
		if rest, ok := strings.CutSuffix(s, u.name); ok {
			s, size = strings.TrimSpace(rest), u.size
			break
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/size {
		return fmt.Errorf("%q is not a size like 4GiB", text)
	}
	*b = Bytes(n * size)
	return nil
}

// String writes a size in the largest binary unit that it is a whole number of.
func (b Bytes) String() string {
	for _, u := range units[:4] {
		if b > 0 && int64(b)%u.size == 0 {
			return strconv.FormatInt(int64(b)/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10) + "B"
}

// MarshalText writes what UnmarshalText reads.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }
