package config

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"gantry/internal/platform/secret"
)

// Insights name the model that analyses sessions; without one, rules do.
type Insights struct {
	InsightsModelURL string        `name:"insights-model-url" help:"Chat completions endpoint of the model that analyses sessions, as in https://models.example.com/v1. Default: none, rules analyse." placeholder:"URL" env:"GANTRY_INSIGHTS_MODEL_URL" group:"Insights"`
	InsightsModel    string        `help:"Name of that model." placeholder:"NAME" env:"GANTRY_INSIGHTS_MODEL" group:"Insights"`
	InsightsModelKey secret.String `help:"The endpoint's key; better given by its variable." placeholder:"KEY" env:"GANTRY_INSIGHTS_MODEL_KEY" group:"Insights"`
}

func (i *Insights) check(c *checker) {
	if (i.InsightsModelURL == "") != (i.InsightsModel == "") {
		c.wrong("insights-model", "Give both --insights-model-url and --insights-model, or neither.", "one without the other is no model")
		return
	}
	if i.InsightsModelURL == "" {
		return
	}
	if u, err := url.Parse(i.InsightsModelURL); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil {
		c.wrong("insights-model-url", "Give an address like https://models.example.com/v1; a key goes into GANTRY_INSIGHTS_MODEL_KEY.", "it is no http(s) address")
	}
}

// Bounds are the upper ends of the size classes xs, s, m and l, as in 1,3,6,10.
type Bounds [4]float64

// UnmarshalText reads four numbers that don't descend.
func (b *Bounds) UnmarshalText(text []byte) error {
	parts := strings.Split(string(text), ",")
	if len(parts) != len(b) {
		return fmt.Errorf("expected four numbers like 1,3,6,10 but got %q", text)
	}
	for i, p := range parts {
		n, err := strconv.ParseFloat(strings.TrimSpace(p), 64)
		if err != nil || !(n >= 0 && n <= maxACUs) || (i > 0 && n < b[i-1]) {
			return fmt.Errorf("expected four ascending numbers like 1,3,6,10 but got %q", text)
		}
		b[i] = n
	}
	return nil
}
