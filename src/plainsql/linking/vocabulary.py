"""Words that questions are made of, whatever the database is about."""

from __future__ import annotations


def listed(text: str) -> tuple[str, ...]:
    """The words of `text`: how long lists of words are written in this package."""
    return tuple(text.split())


STOP_WORDS = frozenset(
    listed(
        """a an the of in on at to for from by with without and or not no nor but as than then that
    this these those there here it its they them their he she his her him we our us you your i me
    my who whom whose which what when where why how is are was were be been being am do does did
    has have had having can could will would shall should may might must if else so such
    very too also only just any some each every all both either neither other another same own
    more most less least few fewer many much per out up down off over under above below between
    into onto through during before after since until about against within along across among
    show list give find return get tell display let see want know please count name number
    don doesn didn isn aren wasn weren don't doesn't didn't isn't aren't wasn't weren't can't
    what's who's s 's"""
    )
)
"""Words that never are a name's or a cell's only evidence."""

QUESTION_WORDS = STOP_WORDS | frozenset(
    listed(
        """average mean maximum minimum max min total sum amount highest lowest largest smallest
    greatest biggest longest shortest oldest youngest earliest latest newest recent recently
    first last top bottom best worst higher lower larger smaller greater bigger longer shorter
    older younger earlier later newer better worse common frequent frequently popular often rarely
    different distinct unique various multiple several single double corresponding respectively
    respective associated related together following given certain specific particular available
    order ordered sort sorted arrange arranged group grouped rank ranked ascending descending
    alphabetical alphabetically lexicographic lexicographical reverse decreasing increasing desc asc
    id ids identifier identifiers code codes names named called known titled entitled labeled
    labelled one two three four five six seven eight nine ten once twice half third
    whole full complete entire overall information info detail details data record records
    result results value values column columns row rows table tables database entry entries
    type types kind kinds sort sorts category categories description descriptions
    contain contains containing contained include includes including included exclude excluding
    excluded have has having belong belongs belonging live lives living lived stay stays work works
    working worked make makes making made take takes taking took taken use uses using used want
    wants need needs own owns owned hold holds holding held held play plays played playing come
    comes came coming go goes went going put start starts started starting end ends ended ending
    begin begins began beginning open opened close closed located locate location place places
    exist exists existing appear appears appearing appeared occur occurs occurred participate
    participates participated participating produce produced produces write writes written wrote
    publish published publishes release released releases create created creates receive received
    say says said mention mentions mentioned compute calculate determine provide identify report
    print retrieve select output describe state explain figure look like likes liked exactly
    approximately around near least equal equals equivalent exceed exceeds exceeding
    people person persons man men woman women someone anyone everyone everybody nobody thing things
    time times year years month months day days date dates week weeks hour hours minute minutes
    ever never always yet still already ago currently today now currently long old new young big
    small large high low great good bad short many far away next previous current
    word words letter letters string strings substring prefix phrase character characters text
    starting title titles age ages size sizes length lengths height heights price prices
    percent percentage share ratio rate rates
    please could able use does except besides apart instead regardless according based because
    while whenever whichever whatever whoever anything something nothing none"""
    )
)
"""Words that don't make a literal of their own where the database is unknown."""
