"""What `audit dashboard` hands to Streamlit.

It stands alone in its folder, because Streamlit puts that folder first on the import path.
"""

import os

from dashboards.app import main
from dashboards.runs import LANDING_VARIABLE

main(os.environ.get(LANDING_VARIABLE, "home"))
