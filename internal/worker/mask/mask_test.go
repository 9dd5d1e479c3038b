package mask_test

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gantry/internal/worker/mask"
)

func TestValuesAndTheirFormsAreHidden(t *testing.T) {
	t.Parallel()
	const v = `s3cr3t/with "quotes"+ and ÿ`
	m := mask.New([]string{v})
	b64 := base64.StdEncoding.EncodeToString([]byte(v))
	for name, form := range map[string]string{
		"plain":           v,
		"base64":          b64,
		"base64 raw":      strings.TrimRight(b64, "="),
		"base64 url":      base64.URLEncoding.EncodeToString([]byte(v)),
		"query":           url.QueryEscape(v),
		"path":            url.PathEscape(v),
		"lower hex":       "s3cr3t%2fwith+%22quotes%22%2b+and+%c3%bf",
		"json":            `s3cr3t/with \"quotes\"+ and ÿ`,
		"several at once": v + v,
	} {
		out := m.String("before " + form + " after")
		require.NotContains(t, out, form, name)
		require.True(t, strings.HasPrefix(out, "before ***"), "%s: %s", name, out)
		require.True(t, strings.HasSuffix(out, " after"), "%s: %s", name, out)
	}
}

func TestAValueInsideLongerBase64IsHiddenAtEveryAlignment(t *testing.T) {
	t.Parallel()
	const v = "correct-horse-battery"
	m := mask.New([]string{v})
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawURLEncoding} {
		for _, before := range []string{"user:", "user1:", "user12:"} {
			whole := enc.EncodeToString([]byte(before + v + ":tail"))
			out := m.String(whole)
			require.Contains(t, out, mask.Mark)
			// Two characters at each side belong partly to the neighbours.
			require.LessOrEqual(t, len(out)-len(mask.Mark), len(whole)-len(v)*4/3+2, out)
		}
	}
}

func TestEachLongLineOfAValueIsHiddenByItself(t *testing.T) {
	t.Parallel()
	key := "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nAQEFAASCBKcwggSjAgEAAoIB\r\nshort\n-----END PRIVATE KEY-----\n"
	m := mask.New([]string{key})
	require.Equal(t, "***", m.String(key))
	require.Equal(t, "     2\t***\n     3\t***\n     4\tshort\n",
		m.String("     2\tMIIEvQIBADANBgkqhkiG9w0B\n     3\tAQEFAASCBKcwggSjAgEAAoIB\n     4\tshort\n"), "numbered, as programs show files")
	require.Equal(t, "-----BEGIN PRIVATE KEY-----", m.String("-----BEGIN PRIVATE KEY-----"), "what every key begins with is no secret")
	many := mask.New([]string{strings.Repeat("a line that is long enough\n", 2) + strings.Repeat("x", 100_000)})
	require.Equal(t, "***", many.String("a line that is long enough"))
}

func TestShortValuesAndOtherTextStay(t *testing.T) {
	t.Parallel()
	m := mask.New([]string{"short", "", "longenough"})
	require.Equal(t, "short stays, *** goes, longenoug stays", m.String("short stays, longenough goes, longenoug stays"))
	var none *mask.Masker
	require.Equal(t, "anything", none.String("anything"))
	require.JSONEq(t, `{"a":1}`, string(none.JSON(json.RawMessage(`{"a":1}`))))
	require.Equal(t, "anything", mask.New(nil).Stream().Write("anything"))
}

func TestOverlappingValuesLeaveNoTailBehind(t *testing.T) {
	t.Parallel()
	m := mask.New([]string{"abcdefgh", "efghijkl", "abcdefghXYZ"})
	require.Equal(t, "<***>", m.String("<abcdefghijkl>"))
	require.Equal(t, "<***>", m.String("<abcdefghXYZ>"))
}

func TestTextThatCanBeNoValueIsNotHeldBack(t *testing.T) {
	t.Parallel()
	s := mask.New([]string{"secretvalue"}).Stream()
	require.Equal(t, "hello\n", s.Write("hello\n"))
	require.Equal(t, "now ", s.Write("now secretva"))
	require.Equal(t, "secretva", s.Write("se"), "what turned out to be something else is given out at once, up to a new beginning")
	require.Equal(t, "se", s.Flush())
}

func TestJSONKeepsItsShapeAndLosesItsSecrets(t *testing.T) {
	t.Parallel()
	m := mask.New([]string{"hunter22", "tab\tand\"quote", "12345678"})
	in := `{"hunter22": [1.50, 1e3, "x hunter22 y", "tab\tand\u0022quote"], "n": 12345678, "deep": {"ok": true, "none": null}}`
	require.Equal(t, // the shape counts too: 1.50 must not become 1.5
		`{"***": [1.50, 1e3, "x *** y", "***"], "n": "***", "deep": {"ok": true, "none": null}}`,
		string(m.JSON(json.RawMessage(in))))
	require.Equal(t, `"not json ***"`, string(m.JSON(json.RawMessage(`not json hunter22`))))
}

// alphabet is small, so that values overlap and repeat. It holds no `*`: a value that contains a Mark may be made by masking.
var alphabet = []rune("abAB01 /+é\"")

func TestNoValueSurvivesWhateverTheBorders(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.StringOfN(rapid.SampledFrom(alphabet), 3, 12, -1), 1, 4).Draw(t, "values")
		parts := rapid.SliceOfN(rapid.OneOf(
			rapid.SampledFrom(values),
			rapid.StringOfN(rapid.SampledFrom(alphabet), 0, 8, -1),
			rapid.Map(rapid.SampledFrom(values), url.QueryEscape),
			rapid.Map(rapid.SampledFrom(values), func(v string) string { return base64.StdEncoding.EncodeToString([]byte(v)) }),
		), 0, 8).Draw(t, "parts")
		text := strings.Join(parts, "")
		m := mask.New(values)

		s := m.Stream()
		var out strings.Builder
		for rest := text; rest != ""; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "piece")
			out.WriteString(s.Write(rest[:n]))
			rest = rest[n:]
		}
		out.WriteString(s.Flush())
		require.Equal(t, m.String(text), out.String(), "borders must not change the result")
		for _, v := range values {
			if len(v) >= mask.MinLength {
				require.NotContains(t, out.String(), v)
				require.NotContains(t, out.String(), base64.StdEncoding.EncodeToString([]byte(v)))
			}
		}
	})
}

func TestMaskedJSONIsJSONWithoutValues(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.StringOfN(rapid.SampledFrom(alphabet), 6, 12, -1).Draw(t, "value")
		doc := map[string]any{
			rapid.StringN(0, 6, -1).Draw(t, "key") + v: []any{v, rapid.String().Draw(t, "text"), v + v, 3.5, nil},
		}
		raw, err := json.Marshal(doc)
		require.NoError(t, err)
		out := mask.New([]string{v}).JSON(raw)
		require.True(t, json.Valid(out), "%s", out)
		var back any
		require.NoError(t, json.Unmarshal(out, &back))
		for k, list := range back.(map[string]any) {
			require.NotContains(t, k, v)
			for _, e := range list.([]any) {
				if s, ok := e.(string); ok {
					require.NotContains(t, s, v)
				}
			}
		}
	})
}

func BenchmarkStream(b *testing.B) {
	var values []string
	for i := range 50 {
		values = append(values, strings.Repeat(string(rune('a'+i%26)), 5)+"-secret-value-"+strings.Repeat("x", i))
	}
	m := mask.New(values)
	text := strings.Repeat("the quick brown fox jumps over the lazy dog 0123456789\n", 600)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		s := m.Stream()
		_ = s.Write(text)
		_ = s.Flush()
	}
}
