// Package chart draws secbot's statistics as a picture.
package chart

import (
	"fmt"
	"strconv"
	"time"

	"github.com/go-analyze/charts"

	"secbot/remediation"
)

// Width and Height are the picture's, in pixels. A narrower one would have the
// points of the line beside the bars of the same day.
const (
	Width  = 1320
	Height = 720
)

// split is where the upper chart ends.
const split = 390

// PNG draws the findings of each day, stacked by severity, and below them how
// long it took from the change in AWS until a fix was read back, as the median of
// each day. The same statistics give the same picture, byte for byte.
func PNG(s remediation.Stats) ([]byte, error) {
	p := charts.NewPainter(charts.PainterOptions{OutputFormat: charts.ChartOutputPNG, Width: Width, Height: Height})
	p.FilledRect(0, 0, Width, Height, charts.ColorWhite, charts.ColorWhite, 0)
	if err := p.Child(charts.PainterBoxOption(charts.NewBox(0, 0, Width, split))).BarChart(findings(s)); err != nil {
		return nil, fmt.Errorf("draw the findings: %w", err)
	}
	if err := p.Child(charts.PainterBoxOption(charts.NewBox(0, split, Width, Height))).LineChart(mitigation(s)); err != nil {
		return nil, fmt.Errorf("draw the time to mitigate: %w", err)
	}
	png, err := p.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encode the picture: %w", err)
	}
	return png, nil
}

// lineColour is the line's.
const lineColour = 0x1264A3

// colours are the severities', the least first.
func colours() []uint32 { return []uint32{0xB8C4D6, 0xF2C14E, 0xF0803C, 0xC2183F} }

// findings are the bars.
func findings(s remediation.Stats) charts.BarChartOption {
	severities := remediation.Severities()
	values := make([][]float64, len(severities))
	names := make([]string, len(severities))
	most := 0
	for i, severity := range severities {
		names[i] = string(severity)
		for _, d := range s.Days {
			n := d.Found[severity]
			if severity == remediation.SeverityLow { // and what bears none
				n = d.All() - d.Found[remediation.SeverityMedium] - d.Found[remediation.SeverityHigh] - d.Found[remediation.SeverityCritical]
			}
			values[i] = append(values[i], float64(n))
			most = max(most, d.All())
		}
	}
	o := charts.NewBarChartOptionWithData(values)
	o.Theme = theme(colours()...)
	o.StackSeries = charts.Ptr(true)
	o.BarSize = 0.7
	o.Title = title(fmt.Sprintf("Findings a day, %s to %s: %d", day(s.From), day(s.To), s.Found))
	o.Legend = charts.LegendOption{SeriesNames: names, Offset: charts.OffsetRight, Symbol: charts.SymbolSquare}
	o.CategoryAxis = days(s)
	o.ValueAxis = []charts.ValueAxisOption{scale(float64(most))}
	o.ValueFormatter = whole
	return o
}

// mitigation is the line.
func mitigation(s remediation.Stats) charts.LineChartOption {
	unit, name := unitOf(s)
	var values []float64
	longest := 0.0
	for _, d := range s.Days {
		v := charts.GetNullValue()
		if d.Mitigated.Count > 0 {
			v = d.Mitigated.Median.Seconds() / unit.Seconds()
			longest = max(longest, v)
		}
		values = append(values, v)
	}
	o := charts.NewLineChartOptionWithData([][]float64{values})
	o.Theme = theme(lineColour)
	about := "no finding of these days was fixed"
	if m := s.Mitigated; m.Count > 0 {
		about = fmt.Sprintf("%s, nine of ten within %s", Span(m.Median), Span(m.P90))
	}
	o.Title = title("Time from the change to its fix, the median of each day in " + name + "; overall: " + about)
	o.Legend = charts.LegendOption{Show: charts.Ptr(false)}
	o.XAxis = days(s)
	o.YAxis = []charts.YAxisOption{scale(longest)}
	o.ValueFormatter = whole
	o.Symbol = charts.Symbol{Shape: charts.SymbolDot, Size: 4}
	o.LineStrokeWidth = 2
	return o
}

func theme(colors ...uint32) charts.ColorPalette { return themeOf(charts.ThemeLight, colors...) }

func themeOf(mode string, colors ...uint32) charts.ColorPalette {
	var series []charts.Color
	for _, c := range colors {
		series = append(series, charts.ColorRGB(uint8(c>>16), uint8(c>>8), uint8(c))) //nolint:gosec // the bytes are meant
	}
	return charts.GetTheme(mode).WithSeriesColors(series)
}

func title(text string) charts.TitleOption {
	return charts.TitleOption{Text: text, Offset: charts.OffsetLeft, FontStyle: charts.FontStyle{FontSize: 14}}
}

// days are the marks below both charts: the days of the month.
func days(s remediation.Stats) charts.CategoryAxisOption {
	var labels []string
	for _, d := range s.Days {
		labels = append(labels, strconv.Itoa(d.Day.Day()))
	}
	return charts.CategoryAxisOption{Labels: labels, LabelCount: len(labels), BoundaryGap: charts.Ptr(true), LabelFontStyle: charts.FontStyle{FontSize: 11}}
}

func day(t time.Time) string { return t.Format("2 January 2006") }

// scale ends an axis at a multiple of four, so that its marks are whole.
func scale(most float64) charts.ValueAxisOption {
	step := 1.0
	for unit := 1.0; step*4 < most; unit *= 10 {
		for _, n := range []float64{1, 2, 3, 5} {
			if step = n * unit; step*4 >= most {
				break
			}
		}
	}
	return charts.ValueAxisOption{Min: charts.Ptr(0.0), Max: charts.Ptr(step * 4), LabelCount: 5, LabelFontStyle: charts.FontStyle{FontSize: 11}}
}

func whole(f float64) string { return fmt.Sprintf("%.0f", f) }

// unitOf is what the times are drawn in.
func unitOf(s remediation.Stats) (time.Duration, string) {
	var longest time.Duration
	for _, d := range s.Days {
		longest = max(longest, d.Mitigated.Median)
	}
	switch {
	case longest < 3*time.Minute:
		return time.Second, "seconds"
	case longest < 3*time.Hour:
		return time.Minute, "minutes"
	case longest < 72*time.Hour:
		return time.Hour, "hours"
	}
	return 24 * time.Hour, "days"
}

// Span says how long a time is, roughly, for people.
func Span(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.0f h", d.Hours())
	}
	return fmt.Sprintf("%.0f days", d.Hours()/24)
}
