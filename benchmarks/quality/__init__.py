"""How well detectors detect, on labelled data and on data where nothing is wrong: ``make bench-quality``.

The readings of each file are folded by the pipeline that ``oddtide detect`` runs (``oddtide.config.facade``: the same
decoder of columns, contract, detectors, calibration, one series a file), with one configuration for everything. What
comes out is compared with the labels, which the pipeline never sees.

*What is ranked.* Readings by surprise, ``-log10(p)``, and where p-values are equal by the detector's own score. The
p-value is what the shipped threshold looks at and the only quantity that is comparable across series, which NAB's
single threshold needs; but a p-value out of a series' own past has few steps in the body and a floor in the tail, so
that the strangest readings of a long series would tie, and the score tells those apart. A second line ranks by the
score alone, to see what calibration costs or gains: within a series that may be much, either way.

*Alarms* are something else: NAB counts them, the others how readings are ordered. NAB is given the verdict's
``alarm_score``, ties broken likewise, under the rules that ``--alarms`` names (``refractory=50`` unless it does). One
set of rules holds for everything; it alters no p-value.

*What is reported.* NAB's standard score with the threshold chosen on the other files; the UCR archive's accuracy;
VUS-PR for SKAB, SMAP and MSL; ROC-AUC and average precision for ADBench's tables. Never point-adjusted F1, on which a
plain EWMA reaches 1. Beside them: whether p-values hold what they promise (``nulls``), and whether a detector looks
ahead.
"""
