"""What `audit dashboard` hands to Streamlit.

It stands alone in its folder, because Streamlit puts that folder first on the import path.
"""

from dashboards.app import main

main()
