package knowledge

import (
	"strings"
	"unicode"
)

// Matching a trigger without a model. A trigger is words for people ("When deploying the billing service, or on invoices"), read so:
//
//   - It is cut into terms at commas, semicolons, full stops, slashes, line ends and the words "or" and "and/or".
//   - Of each term the words that say nothing are left out ("when", "the", "working", …), and the others brought to a common form: lower
//     case, without the endings of plural and tense.
//   - A term matches when two thirds of its words (one of one, two of two, two of three) are among the words of the prompt or message,
//     the session's title and its repositories' names. The trigger matches when one term does.
//   - Words in scripts without spaces match wherever the text contains them.
//   - A trigger of empty words alone matches everything when one of them is "always", "all", "any", "every" or "everything".

// words is a text as triggers are held against it.
type words struct {
	set  map[string]bool
	text string // for scripts without spaces
}

func wordsOf(texts ...string) words {
	w := words{set: map[string]bool{}}
	for _, t := range texts {
		t = strings.ToLower(t)
		w.text += t + "\n"
		for _, f := range split(t) {
			w.set[stem(f)] = true
		}
	}
	return w
}

// split cuts a text at everything that isn't part of a word.
func split(text string) []string {
	return strings.FieldsFunc(text, func(c rune) bool { return !unicode.IsLetter(c) && !unicode.IsDigit(c) && !unicode.IsMark(c) })
}

// matches reports whether a trigger is about a text.
func (w words) matches(trigger string) bool {
	trigger = strings.ToLower(trigger)
	empty, always := true, false
	for _, term := range terms(trigger) {
		n, found := 0, 0
		for _, word := range split(term) {
			if fillers[word] {
				always = always || universal[word]
				continue
			}
			n++
			if w.has(word) {
				found++
			}
		}
		if n == 0 {
			continue
		}
		empty = false
		if 3*found >= 2*n {
			return true
		}
	}
	return empty && always
}

func (w words) has(word string) bool {
	if spaceless(word) {
		return strings.Contains(w.text, word)
	}
	return w.set[stem(word)]
}

// spaceless says that a word is of a script that puts no spaces between words.
func spaceless(word string) bool {
	return strings.ContainsFunc(word, func(c rune) bool {
		return unicode.In(c, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar)
	})
}

// terms cuts a trigger in lower case into what may match by itself.
func terms(trigger string) []string {
	var out []string
	for _, part := range strings.FieldsFunc(trigger, func(c rune) bool { return strings.ContainsRune(",;.:/|\n\r()、。，；", c) }) {
		term := ""
		for word := range strings.FieldsSeq(part) {
			if word == "or" {
				out, term = append(out, term), ""
				continue
			}
			term += word + " "
		}
		out = append(out, term)
	}
	return out
}

// endings of plural and tense, the longer before the shorter.
var endings = []string{"ments", "ment", "ings", "ing", "ions", "ion", "ies", "ied", "es", "ed", "s"}

// stem brings forms of a word together: deploy, deploys, deployed, deploying and deployment are one, and so are run and running. At
// least three bytes are left of a word.
func stem(word string) string {
	for _, e := range endings {
		if rest, ok := strings.CutSuffix(word, e); ok && len(rest) >= 3 {
			word = rest
			break
		}
	}
	if n := len(word); n > 3 && (word[n-1] == 'e' || word[n-1] == 'y' || word[n-1] == word[n-2]) {
		word = word[:n-1]
	}
	return word
}

// fillers say nothing about a task.
var fillers = setOf(`a about above across after all also always an and any anything apply are as ask asked asking asks at be been before
	being below but by can case come comes coming concern concerning concerns could deal dealing deals do does doing done during each either
	else ever every everything everyone for from general generally get gets getting give given gives go goes going handle handles handling has
	have having how i if in into involve involves involving is it its let like look looking looks made make makes making may me mention mentioned
	mentions might must my need needed needing needs note notes of on one onto our out over please refer referring refers regarding relate
	related relates relating request requests session sessions should so some something task tasks than that the their them then there these
	they thing things this those through to touch touches touching trigger triggered try trying type under up upon us use used user users uses
	using via want wanting wants was way we were what when whenever where wherever whether which while who whose why will with within without
	work worked working works would you your yourself`)

// universal are the fillers that stand for every task.
var universal = setOf(`all always any anything every everything`)

func setOf(list string) map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(list) {
		m[w] = true
	}
	return m
}

// sameRepo reports whether a pin means a repository of a session. Both may be given with host, scheme or .git; a name without a host
// means that name on any.
func sameRepo(pin, repo string) bool {
	a, b := repoName(pin), repoName(repo)
	if a == "" || b == "" {
		return false
	}
	if len(a) < len(b) {
		a, b = b, a
	}
	return a == b || (strings.Contains(b, "/") && strings.HasSuffix(a, "/"+b))
}

// repoName brings the forms of a repository's name together: HTTPS://git@Host/Owner/Name.git/ is host/owner/name.
func repoName(s string) string {
	s = strings.ToLower(strings.TrimSpace(s))
	if _, rest, ok := strings.Cut(s, "://"); ok {
		s = rest
	} else if user, rest, ok := strings.Cut(s, ":"); ok && strings.Contains(user, "@") {
		s = user + "/" + rest // git@host:owner/name
	}
	if host, rest, ok := strings.Cut(s, "/"); ok {
		s = host[strings.LastIndexByte(host, '@')+1:] + "/" + rest
	}
	return strings.TrimSuffix(strings.Trim(s, "/"), ".git")
}
