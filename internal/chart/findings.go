package chart

import (
	"fmt"

	"github.com/go-analyze/charts"

	"secbot/remediation"
)

// Bar is how many findings there are of one kind, by severity.
type Bar struct {
	Name  string
	Found map[remediation.Severity]int
}

// Heights of the picture of bars, in pixels.
const (
	barHeight  = 44
	barsBeside = 90 // title, legend and axis
	barsWidth  = 960
)

// Bars draws a bar for each kind of finding, the first on top, stacked by
// severity, as an SVG without a background. dark is for light text. The same bars
// give the same picture, byte for byte.
func Bars(bars []Bar, dark bool) ([]byte, error) {
	height := barsBeside + barHeight*len(bars)
	p := charts.NewPainter(charts.PainterOptions{OutputFormat: charts.ChartOutputSVG, Width: barsWidth, Height: height})
	severities := remediation.Severities()
	values, names, labels := make([][]float64, len(severities)), make([]string, len(severities)), make([]string, len(bars))
	most := 0
	for i := range bars {
		b := bars[len(bars)-1-i] // the library draws from below
		labels[i] = b.Name
		all := 0
		for j, s := range severities {
			values[j] = append(values[j], float64(b.Found[s]))
			all += b.Found[s]
		}
		most = max(most, all)
	}
	for j, s := range severities {
		names[j] = string(s)
	}
	mode := charts.ThemeLight
	if dark {
		mode = charts.ThemeDark
	}
	o := charts.NewBarChartOptionWithData(values)
	o.Horizontal = true
	o.Theme = themeOf(mode, colours()...).WithBackgroundColor(charts.ColorTransparent)
	o.StackSeries = charts.Ptr(true)
	o.Legend = charts.LegendOption{SeriesNames: names, Offset: charts.OffsetRight, Symbol: charts.SymbolSquare}
	o.CategoryAxis = charts.CategoryAxisOption{Labels: labels, LabelCount: len(labels)}
	o.ValueAxis = []charts.ValueAxisOption{scale(float64(most))}
	o.BarSize = 0.6
	o.ValueFormatter = whole
	if err := p.BarChart(o); err != nil {
		return nil, fmt.Errorf("draw the findings: %w", err)
	}
	svg, err := p.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encode the picture: %w", err)
	}
	return svg, nil
}
